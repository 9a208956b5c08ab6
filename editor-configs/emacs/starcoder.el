;;; starcoder.el --- Ghost text from starcoder-lsp, through lsp-mode 10  -*- lexical-binding: t -*-

(require 'lsp-mode)
(require 'lsp-inline-completion)

(defvar starcoder-command '("starcoder-lsp")
  "The server's program and its arguments.")

(defvar starcoder-settings nil
  "Settings as docs/settings.md lists them: (:model (:path \"~/a.gguf\") :enabled :json-false :languages [\"c\"]).")

;; lsp-mode does not quite say that it shows suggestions itself: the server would put them into menus too.
(defun starcoder--options ()
  "The settings for the server."
  (let ((completion (append (plist-get starcoder-settings :completion) '(:asMenuItems "never"))))
    (list :starcoder (plist-put (copy-sequence starcoder-settings) :completion completion))))

(defun starcoder--own-p (workspace)
  "Whether WORKSPACE has this server: `starcoder-lsp', or `starcoder-lsp-tramp' on another machine."
  (string-prefix-p "starcoder-lsp" (symbol-name (lsp--client-server-id (lsp--workspace-client workspace)))))

(defvar starcoder-status nil
  "What the server says that it does, for the mode line.")

(defun starcoder--show-status (_workspace status)
  "Show STATUS in the mode line."
  (setq starcoder-status (concat " starcoder:" (lsp-get status :kind)))
  (force-mode-line-update t))

(add-to-list 'minor-mode-alist '(lsp-mode starcoder-status))
(add-hook 'lsp-after-uninitialized-functions
          (lambda (workspace)
            (when (starcoder--own-p workspace)
              (setq starcoder-status nil))))

(defun starcoder--workspace ()
  "The server of this buffer. Messages go to it alone: the language's own server does not know them."
  (or (-first #'starcoder--own-p (lsp-workspaces))
      (user-error "The server starcoder-lsp does not run here")))

(defun starcoder--execute (command arguments)
  "Let the server run COMMAND with ARGUMENTS, a vector."
  (with-lsp-workspace (starcoder--workspace)
    (lsp-request-async "workspace/executeCommand" (list :command command :arguments arguments) #'ignore
                       :mode 'detached)))

;; Beside the language's own server, in every file.
(lsp-register-client
 (make-lsp-client :server-id 'starcoder-lsp
                  :new-connection (lsp-stdio-connection (lambda () starcoder-command))
                  :initialization-options #'starcoder--options
                  :custom-capabilities '((experimental . ((starcoder . ((status . t) (buttons . t))))))
                  :notification-handlers (lsp-ht ("starcoder/didChangeStatus" #'starcoder--show-status))
                  :action-handlers (lsp-ht ("starcoder.accept"
                                            (lambda (action)
                                              (starcoder--execute "starcoder.accept" (lsp-get action :arguments)))))
                  :activation-fn #'always
                  :add-on? t))

;; lsp-mode waits twice before it asks; the server waits until nobody types.
(setq lsp-idle-delay 0.05
      lsp-inline-completion-idle-delay 0.05)

;; An open menu of company-mode comes first, whichever of the two modes does.
(dolist (hook '(lsp-inline-completion-mode-hook company-mode-hook))
  (add-hook hook #'lsp-inline-completion-company-integration-mode))

(defun starcoder-pull-model ()
  "Get a model: choose one, accept its licence, and use it as soon as it is here."
  (interactive)
  (starcoder--execute "starcoder.pullModel" []))

(defun starcoder-toggle ()
  "Turn suggestions off or on."
  (interactive)
  (starcoder--execute "starcoder.toggle" []))

(defun starcoder-next ()
  "Show the next suggestion. The first time the server is asked for up to three."
  (interactive)
  (let ((was-shown (lsp-inline-completion--active-p)))
    (unless (and was-shown (cdr lsp-inline-completion--items))
      (lsp-inline-completion-cancel) ; what is shown has moved point
      (lsp-inline-completion-display))
    (when (and was-shown (lsp-inline-completion--active-p))
      (lsp-inline-completion-next))))

(defun starcoder--position (point)
  "POINT as a position in the form that lsp-mode reads: what it makes itself it only sends."
  (-let (((&plist :line :character) (lsp--point-to-position point)))
    (lsp-make-position :line line :character character)))

(defun starcoder--accept-part (regexp)
  "Insert what REGEXP matches at the suggestion's beginning, and show the rest."
  (-let* ((item (elt lsp-inline-completion--items lsp-inline-completion--current))
          ((&InlineCompletionItem :insert-text :range? (&RangeToPoint :start :end)) item)
          (part (if (string-match regexp insert-text) (match-string 0 insert-text) insert-text)))
    (if (equal part insert-text)
        (lsp-inline-completion-accept)
      (lsp-inline-completion--clear-overlay)
      (goto-char start)
      (insert part)
      (with-lsp-workspace (starcoder--workspace)
        (lsp-notify "textDocument/didPartiallyAcceptCompletion"
                    (list :item item :acceptedLength (/ (length (encode-coding-string part 'utf-16le)) 2))))
      (lsp-put item :insertText (substring insert-text (length part)))
      (lsp-put item :range (lsp-make-range :start (starcoder--position (point))
                                           :end (starcoder--position (+ (point) (- end start)))))
      (setq lsp-inline-completion--items (list item)
            lsp-inline-completion--current 0
            lsp-inline-completion--start-point (point))
      (lsp-inline-completion-show-overlay))))

(defun starcoder-accept-word ()
  "Accept the next word of the suggestion."
  (interactive)
  (starcoder--accept-part "\\`[[:space:]\n]*\\(?:[[:alnum:]_]+\\|[^[:alnum:]_[:space:]\n]+\\)"))

(defun starcoder-accept-line ()
  "Accept the next line of the suggestion."
  (interactive)
  (starcoder--accept-part "\\`\n*[^\n]*"))

(unless (lookup-key global-map (kbd "M-n"))
  (define-key lsp-mode-map (kbd "M-n") #'starcoder-next))
(dolist (binding '(("TAB" . lsp-inline-completion-accept) ; while a suggestion is shown
                   ("<tab>" . lsp-inline-completion-accept) ; a window's key, which another map may bind by itself
                   ("M-f" . starcoder-accept-word)
                   ("M-e" . starcoder-accept-line)
                   ("M-n" . starcoder-next)
                   ("M-p" . lsp-inline-completion-prev)))
  (lsp-inline-completion--define-key lsp-inline-completion-active-map (kbd (car binding)) (cdr binding) 'keep))

;; A model writes for longer than lsp-mode waits for an answer; C-g ends it.
(define-advice lsp-execute-code-action (:around (execute &rest action) starcoder)
  (let ((lsp-response-timeout 70))
    (apply execute action)))

;; Every edit in Emacs ends the region, but lsp-mode hides its own: undo would then be for the region alone.
(add-hook 'lsp-after-apply-edits-hook
          (lambda (operation)
            (when (eq operation 'code-action)
              (deactivate-mark))))

;; lsp-mode 10 touches a file that it makes when it visits it already, and then asks about a change on disk.
(define-advice lsp--apply-text-document-edit (:before-while (edit &rest _) starcoder)
  (not (and (equal (lsp:edit-kind edit) "create")
            (not (lsp-get edit :options))
            (find-buffer-visiting (lsp--uri-to-path (lsp-get edit :uri))))))

(provide 'starcoder)
;;; starcoder.el ends here
