((Decl (FnProto function: (_) @scope.name) (Block) @scope.body) @scope.function
  (#set! lead "pub"))

((Decl (VarDecl
  variable_type_function: (_) @scope.name
  (ErrorUnionExpr (SuffixExpr (ContainerDecl) @scope.body)))) @scope.class
  (#set! lead "pub"))

(TestDecl (STRINGLITERALSINGLE) @scope.name (Block) @scope.body) @scope.function
(TestDecl (IDENTIFIER)? @scope.name (Block) @scope.body) @scope.function
(ComptimeDecl (Block) @scope.body) @scope.function

(Statement (VarDecl
  variable_type_function: (_) @scope.name
  (ErrorUnionExpr (SuffixExpr (ContainerDecl) @scope.body)))) @scope.class
