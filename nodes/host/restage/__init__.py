"""After a change of strengths, only the weights whose patches changed are patched again."""
