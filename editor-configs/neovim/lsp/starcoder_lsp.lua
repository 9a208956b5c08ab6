-- How Neovim starts the server. From 0.11 on it finds this file by itself; plugin/starcoder.lua reads it for 0.10.
-- What a person sets stands in `vim.g.starcoder`: `cmd`, and `settings` as docs/settings.md lists them.
local own = vim.g.starcoder or {}

return {
  name = 'starcoder_lsp',
  cmd = own.cmd or { 'starcoder-lsp' },
  root_markers = { '.git' },
  init_options = { starcoder = own.settings or vim.empty_dict() },
  capabilities = vim.tbl_deep_extend('force', vim.lsp.protocol.make_client_capabilities(), {
    textDocument = { inlineCompletion = { dynamicRegistration = false } }, -- 0.10 and 0.11 show it through this plugin
    workspace = { workspaceEdit = { documentChanges = true } }, -- Neovim knows them, and does not say so
    experimental = { starcoder = { status = true } },
  }),
  handlers = {
    ['starcoder/didChangeStatus'] = function(_, status, context)
      require('starcoder').set_status(context.client_id, status)
    end,
    ['window/showMessageRequest'] = function(_, params)
      return require('starcoder.messages').ask(params)
    end,
  },
  on_attach = function(client, bufnr)
    require('starcoder').attach(client, bufnr)
  end,
  on_exit = function(code, signal)
    require('starcoder').restart(code, signal)
  end,
}
