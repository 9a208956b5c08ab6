((program (call function: (_) @_call) @import)
  (#one-of? @_call "library" "require" "requireNamespace" "source" "box::use"))

((ERROR (call function: (_) @_call) @import)
  (#one-of? @_call "library" "require" "requireNamespace" "source" "box::use"))

; suppressPackageStartupMessages(library(a))
((program (call
  function: (identifier)
  arguments: (arguments . (argument value: (call function: (identifier) @_call)) .)) @import)
  (#one-of? @_call "library" "require"))
