"""What benchmark.py measures, a file each: networks side by side, operators, the live loops, training's feed, toy networks."""
