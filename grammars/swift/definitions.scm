(protocol_function_declaration name: (_) @definition.name) @definition.function
(typealias_declaration . name: (_) @definition.name) @definition.type
(source_file (property_declaration name: (pattern) @definition.name) @definition.constant)
(class_body (property_declaration name: (pattern) @definition.name) @definition.constant)
