; not anchored to the root: includes occur in include guards and in #ifdef
(preproc_include) @import
