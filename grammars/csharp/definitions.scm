; methods without a body and types on one line, which are not scopes
(method_declaration name: (_) @definition.name) @definition.function
(record_declaration name: (_) @definition.name) @definition.class
(class_declaration name: (_) @definition.name) @definition.class
(struct_declaration name: (_) @definition.name) @definition.class
(delegate_declaration name: (_) @definition.name) @definition.type
(property_declaration name: (_) @definition.name) @definition.function
(field_declaration (variable_declaration (variable_declarator name: (_) @definition.name))) @definition.constant
(event_field_declaration (variable_declaration (variable_declarator name: (_) @definition.name))) @definition.constant
(enum_member_declaration name: (_) @definition.name) @definition.constant
