((program (call !receiver method: (identifier) @_method) @import)
  (#one-of? @_method "require" "require_relative" "load" "autoload"))

((ERROR (call !receiver method: (identifier) @_method) @import)
  (#one-of? @_method "require" "require_relative" "load" "autoload"))
