((call target: (identifier) @_def (arguments . (call target: (_) @definition.name))) @definition.function
  (#one-of? @_def "def" "defp" "defdelegate" "defguard"))

((unary_operator operand: (call
  target: (identifier) @_type
  (arguments (binary_operator left: (_) @definition.name)))) @definition.type
  (#one-of? @_type "type" "typep" "opaque"))

((unary_operator operand: (call
  target: (identifier) @_type
  (arguments (binary_operator left: (call target: (_) @definition.name))))) @definition.function
  (#one-of? @_type "callback" "macrocallback"))
