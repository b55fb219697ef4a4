"""Parts of HTML reports: page, charts, histograms."""
