; also those under `if TYPE_CHECKING:`, `try:`, `with suppress(ImportError):`, and their further branches
(module [(import_statement) (import_from_statement) (future_import_statement)] @import)
(module (if_statement consequence: (block [(import_statement) (import_from_statement)] @import)))
(module (if_statement (_ (block [(import_statement) (import_from_statement)] @import))))
(module (try_statement body: (block [(import_statement) (import_from_statement)] @import)))
(module (try_statement (_ (block [(import_statement) (import_from_statement)] @import))))
(module (with_statement body: (block [(import_statement) (import_from_statement)] @import)))

(ERROR [(import_statement) (import_from_statement) (future_import_statement)] @import)
