((program (call function: (_) @_call) @import)
  (#one-of? @_call "library" "require" "requireNamespace" "source" "box::use"))

((ERROR (call function: (_) @_call) @import)
  (#one-of? @_call "library" "require" "requireNamespace" "source" "box::use"))
