(type_alias . (type_identifier) @definition.name) @definition.type
(function_declaration (simple_identifier) @definition.name) @definition.function
(class_declaration (type_identifier) @definition.name) @definition.class
(object_declaration (type_identifier) @definition.name) @definition.class
(enum_entry (simple_identifier) @definition.name) @definition.constant
(source_file (property_declaration (variable_declaration (simple_identifier) @definition.name)) @definition.constant)
(class_body (property_declaration (variable_declaration (simple_identifier) @definition.name)) @definition.constant)
