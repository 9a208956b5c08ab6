; functions without a body
(function_definition name: (_) @definition.name) @definition.function
(event_definition name: (_) @definition.name) @definition.type
(error_declaration name: (_) @definition.name) @definition.type
(constant_variable_declaration name: (_) @definition.name) @definition.constant
(state_variable_declaration name: (_) @definition.name) @definition.constant
(struct_member name: (_) @definition.name) @definition.constant
(enum_value) @definition.constant @definition.name
