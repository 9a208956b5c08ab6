(newtype name: (_) @definition.name) @definition.class
(type_synomym name: (_) @definition.name) @definition.type
(type_family name: (_) @definition.name) @definition.type
(class_declarations (signature name: (_) @definition.name) @definition.function)
