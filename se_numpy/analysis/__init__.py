"""What a trained network does, to look at: curves, gates by class and depth, other gates put in their place."""
