(haskell (imports (import) @import))

(ERROR (imports (import) @import))
