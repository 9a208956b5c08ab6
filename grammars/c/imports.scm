; not anchored to the file: includes stand in include guards and in #ifdef
(preproc_include) @import
