"""Reports: a StudyResult in, a document out; they compute nothing, and equal results give equal bytes."""
