"""Class names as their data sets publish them: one text file a data set, one name a line, in index order."""
