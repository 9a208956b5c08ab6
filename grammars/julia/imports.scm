(source_file [(using_statement) (import_statement)] @import)
(module_definition (block [(using_statement) (import_statement)] @import))

((source_file (call_expression . (identifier) @_include) @import)
  (#one-of? @_include "include"))

((module_definition (block (call_expression . (identifier) @_include) @import))
  (#one-of? @_include "include"))

(ERROR [(using_statement) (import_statement)] @import)

((ERROR (call_expression . (identifier) @_include) @import)
  (#one-of? @_include "include"))

; in a module whose `end` is not typed yet
(ERROR (block [(using_statement) (import_statement)] @import))

((ERROR (block (call_expression . (identifier) @_include) @import))
  (#one-of? @_include "include"))
