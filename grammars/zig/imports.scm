((source_file (Decl (VarDecl (ErrorUnionExpr (SuffixExpr . (BUILTINIDENTIFIER) @_builtin)))) @import)
  (#one-of? @_builtin "@import"))

((ERROR (Decl (VarDecl (ErrorUnionExpr (SuffixExpr . (BUILTINIDENTIFIER) @_builtin)))) @import)
  (#one-of? @_builtin "@import"))
