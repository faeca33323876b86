"""What a file is and whether it fits a model: verdict, coverage, advice."""
