"""How different the programs of a model are. No model, no sandbox, no files; docs/diversity.md is the guide.

undefined     a figure that has no value says why; it is never 0
correct       the programs that a scorer passed: no other way to make one
abundance     labels to cluster sizes to DA@K, eDA@K, effective numbers, NAUADC, Chao1, coverage
ngrams        code tokens: distinct-n, BLEU, self-BLEU
codebleu      symmetric CodeBLEU that does not invent data flow
trees         syntax trees: edit distance, vertical paths
pairs         the mean of a comparison over all pairs of programs
vendi         the effective number of programs under a similarity
semantic      effective semantic diversity: valid programs that behave differently
techniques    which of 34 techniques a program uses; NeoGauge
"""
