"""Problems and what surrounds them: where they come from, how they are asked, how answers are read."""
