(source_file [(pp_include) (pp_include_lib) (import_attribute)] @import)

(ERROR [(pp_include) (pp_include_lib) (import_attribute)] @import)
