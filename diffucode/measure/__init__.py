"""What a small code model can do, measured on minicode's problems.

problems    drawn with their tests, kept on disk       settings    how much is measured
samples     problems to completions                    bench       one model: samples, outcomes, figures
judged      programs to outcomes, in the sandbox       answers     programs that others wrote
entropy     how sure a model is along an answer        pick        which checkpoints are shipped
card        figures to the tables of docs/models.md    shipping    models into the package
targets     what was asked of the bundled models       figures     an estimate as text
vote        the majority of samples, by what they do
"""
