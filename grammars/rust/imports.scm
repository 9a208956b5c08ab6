(source_file [(use_declaration) (extern_crate_declaration) (mod_item !body)] @import)

(ERROR [(use_declaration) (extern_crate_declaration) (mod_item !body)] @import)
