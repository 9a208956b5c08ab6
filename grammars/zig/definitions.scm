((source_file (Decl (VarDecl variable_type_function: (_) @definition.name)) @definition.constant)
  (#set! lead "pub"))

((Decl (FnProto function: (_) @definition.name)) @definition.function
  (#set! lead "pub"))

(ContainerField field_member: (_) @definition.name) @definition.constant
