"""Charts as Vega-Lite specifications, one kind a file, and the library that draws them as SVG."""
