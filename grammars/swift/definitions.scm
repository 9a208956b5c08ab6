(protocol_function_declaration name: (_) @definition.name) @definition.function
(protocol_property_declaration name: (pattern bound_identifier: (_) @definition.name)) @definition.constant
(protocol_body (init_declaration "init" @definition.name) @definition.function)
(associatedtype_declaration name: (_) @definition.name) @definition.type
(typealias_declaration . name: (_) @definition.name) @definition.type
(enum_entry name: (simple_identifier) @definition.name @definition.constant)
(source_file (property_declaration name: (pattern) @definition.name) @definition.constant)
(class_body (property_declaration name: (pattern) @definition.name) @definition.constant)
(enum_class_body (property_declaration name: (pattern) @definition.name) @definition.constant)
