(function_declaration name: (_) @definition.name) @definition.function
(class_definition name: (_) @definition.name) @definition.class
(type_definition name: (_) @definition.name) @definition.type
(val_definition pattern: (identifier) @definition.name) @definition.constant
