"""Studies: grids of trainings, run by as many processes and machines as there are, told as a paper's tables."""
