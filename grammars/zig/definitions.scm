((source_file (Decl (VarDecl variable_type_function: (_) @definition.name)) @definition.constant)
  (#set! lead "pub"))
