; also those under `if TYPE_CHECKING:` and `try:`
(module [(import_statement) (import_from_statement) (future_import_statement)] @import)
(module (if_statement consequence: (block [(import_statement) (import_from_statement)] @import)))
(module (try_statement body: (block [(import_statement) (import_from_statement)] @import)))
(module (try_statement (except_clause (block [(import_statement) (import_from_statement)] @import))))

(ERROR [(import_statement) (import_from_statement) (future_import_statement)] @import)
