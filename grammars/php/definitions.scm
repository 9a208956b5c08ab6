(method_declaration name: (_) @definition.name) @definition.function
(const_declaration (const_element . (name) @definition.name)) @definition.constant
(property_declaration (property_element name: (variable_name (name) @definition.name))) @definition.constant
(enum_case name: (_) @definition.name) @definition.constant
