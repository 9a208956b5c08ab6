-- Starts the server for every file, and sets the keys that are still free.
if vim.g.loaded_starcoder or vim.fn.has('nvim-0.10') == 0 then
  return
end
vim.g.loaded_starcoder = true

local starcoder = require('starcoder')

for action, key in pairs(starcoder.keys) do
  if vim.fn.maparg(key, 'i') == '' then
    vim.keymap.set('i', key, function()
      -- A popup menu has its own use for a key, and so has Neovim where nothing is suggested: of Alt it makes Escape.
      if vim.fn.pumvisible() == 1 or not starcoder[action]() then
        local meant = key:gsub('^<M%-(.)>$', '<Esc>%1')
        vim.api.nvim_feedkeys(vim.keycode(meant), 'ni', false)
      end
    end, { desc = 'starcoder: ' .. action:gsub('_', ' ') })
  end
end

vim.api.nvim_create_user_command('Starcoder', function(call)
  starcoder.command(call.fargs[1], vim.list_slice(call.fargs, 2))
end, { nargs = '+', complete = starcoder.commands, desc = 'Run a command of starcoder-lsp' })

if vim.lsp.enable then
  vim.lsp.enable('starcoder_lsp')
else
  local path = vim.api.nvim_get_runtime_file('lsp/starcoder_lsp.lua', false)[1]
  vim.api.nvim_create_autocmd('FileType', {
    group = vim.api.nvim_create_augroup('starcoder.start', {}),
    callback = function(event)
      if vim.bo[event.buf].buftype == '' then
        local config = dofile(path)
        config.root_dir = vim.fs.root(event.buf, config.root_markers)
        vim.lsp.start(config, { bufnr = event.buf })
      end
    end,
  })
end
