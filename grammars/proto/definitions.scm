(rpc (rpc_name) @definition.name) @definition.function
(field (type) . (identifier) @definition.name) @definition.constant
(map_field (identifier) @definition.name) @definition.constant
(oneof_field (type) . (identifier) @definition.name) @definition.constant
(enum_field . (identifier) @definition.name) @definition.constant
