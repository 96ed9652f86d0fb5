;;; netspec.el --- netspec lsp in Emacs 29 and later, through eglot  -*- lexical-binding: t; -*-

;; (load "/path/to/netspec.el") in the init file.  Needs yaml-ts-mode (which Emacs has) or yaml-mode.

(require 'eglot)

(defvar netspec-command '("netspec" "lsp")
  "The language server: the program, then its arguments.")

(defvar netspec-settings nil
  "Settings as a property list, such as (:structural :json-false).")

(defun netspec-looks-like-network-p ()
  "Whether this buffer is a network, a file of blocks or a run profile."
  (save-excursion
    (goto-char (point-min))
    (let ((case-fold-search nil))
      (re-search-forward
       "^{?[ \t]*[\"']?netspec[\"']?[ \t]*:\\|^[\"']?runner[\"']?[ \t]*:[ \t]*[0-9]" nil t))))

(defun netspec-ensure ()
  "Start or use the language server in this buffer, if it is a network."
  (when (netspec-looks-like-network-p)
    (setq-local eglot-server-programs
                `((,major-mode . (,@netspec-command
                                  :initializationOptions ,(or netspec-settings (make-hash-table))))))
    (eglot-ensure)))

(add-hook 'yaml-mode-hook #'netspec-ensure)
(add-hook 'yaml-ts-mode-hook #'netspec-ensure)

(provide 'netspec)
;;; netspec.el ends here
