; methods without a body, which are not scopes
(method_declaration name: (_) @definition.name) @definition.function
(annotation_type_element_declaration name: (_) @definition.name) @definition.function
(field_declaration declarator: (variable_declarator name: (_) @definition.name)) @definition.constant
(constant_declaration declarator: (variable_declarator name: (_) @definition.name)) @definition.constant
(enum_constant name: (_) @definition.name) @definition.constant
