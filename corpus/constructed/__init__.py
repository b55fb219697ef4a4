"""Ten constructed languages with all data that a translation pipeline needs, from one seed."""
