"""Search over everything that is written: text and passages, index, ranking, answers."""
