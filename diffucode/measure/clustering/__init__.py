"""Which programs for a problem use the same algorithm.

task        what a clusterer is asked: ``Task``, ``Clusterer``
judge       the clusterer that asks a language model
offline     the clusterer that runs programs and counts, by way of
            grow (inputs of growing size), prints (what is known of a program), rule, linkage
calibrate   what a clusterer is worth on programs whose algorithm is known; table
labelled    such programs, written by hand, in handwritten/
"""
