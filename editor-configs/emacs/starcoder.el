;;; starcoder.el --- Ghost text from starcoder-lsp, through lsp-mode 10  -*- lexical-binding: t -*-

(require 'lsp-mode)
(require 'lsp-inline-completion)

(defvar starcoder-command '("starcoder-lsp")
  "The server's program and its arguments.")

(defvar starcoder-settings nil
  "Settings as the server's README lists them, such as (:model (:path \"~/models/starcoder2-3b.Q4_0.gguf\")).")

;; Beside the language's own server, in every file.
(lsp-register-client
 (make-lsp-client :server-id 'starcoder-lsp
                  :new-connection (lsp-stdio-connection (lambda () starcoder-command))
                  :initialization-options (lambda () (list :starcoder (or starcoder-settings (make-hash-table))))
                  :activation-fn #'always
                  :add-on? t))

;; lsp-mode waits twice before it asks; the server waits until nobody types.
(setq lsp-idle-delay 0.05
      lsp-inline-completion-idle-delay 0.05)

(defun starcoder-next ()
  "Show the next suggestion. The first time the server is asked for up to three."
  (interactive)
  (let ((was-shown (lsp-inline-completion--active-p)))
    (unless (and was-shown (cdr lsp-inline-completion--items))
      (lsp-inline-completion-cancel) ; what is shown has moved point
      (lsp-inline-completion-display))
    (when (and was-shown (lsp-inline-completion--active-p))
      (lsp-inline-completion-next))))

(define-key lsp-mode-map (kbd "M-n") #'starcoder-next)
(dolist (binding '(("TAB" . lsp-inline-completion-accept) ; while a suggestion is shown
                   ("M-n" . starcoder-next)
                   ("M-p" . lsp-inline-completion-prev)))
  (lsp-inline-completion--define-key lsp-inline-completion-active-map (kbd (car binding)) (cdr binding) 'keep))

(provide 'starcoder)
;;; starcoder.el ends here
