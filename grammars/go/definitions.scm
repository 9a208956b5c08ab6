(source_file (type_declaration . (type_spec name: (_) @definition.name) .) @definition.type)
(source_file (type_declaration . (type_alias name: (_) @definition.name) .) @definition.type)
(source_file (const_declaration (const_spec name: (_) @definition.name) @definition.constant))
(source_file (var_declaration (var_spec name: (_) @definition.name) @definition.constant))
