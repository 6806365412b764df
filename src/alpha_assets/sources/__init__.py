"""Where rows come from: a simulated exchange, a folder of files, the J-Quants API."""
