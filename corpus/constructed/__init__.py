"""Ten constructed languages with everything a machine-translation pipeline needs, from one seed."""
