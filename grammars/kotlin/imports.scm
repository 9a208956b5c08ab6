(source_file (import_list (import_header) @import))

(ERROR (import_list (import_header) @import))
