((source (call target: (identifier) @_import) @import)
  (#one-of? @_import "alias" "import" "require" "use"))

; imports occur inside the module that uses them
((source (call (do_block (call target: (identifier) @_import) @import)))
  (#one-of? @_import "alias" "import" "require" "use"))

((ERROR (call target: (identifier) @_import) @import)
  (#one-of? @_import "alias" "import" "require" "use"))
