(pp_define lhs: (macro_lhs name: (_) @definition.name)) @definition.constant
(pp_define lhs: (macro_lhs name: (_) @definition.name args: (_))) @definition.function
(record_decl name: (_) @definition.name) @definition.class
(type_alias name: (type_name name: (_) @definition.name)) @definition.type
(opaque name: (type_name name: (_) @definition.name)) @definition.type
(callback fun: (_) @definition.name) @definition.function
