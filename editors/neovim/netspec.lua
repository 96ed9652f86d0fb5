-- netspec in Neovim, 0.7 or later. Put this file into ~/.config/nvim/plugin/.
--
-- Settings, before it is loaded:
--   vim.g.netspec = { cmd = { '/path/to/netspec', 'lsp' }, settings = { structural = false } }

local user = vim.g.netspec or {}
local settings = user.settings or vim.empty_dict()

local function on_attach(_, buffer)
  vim.bo[buffer].omnifunc = 'v:lua.vim.lsp.omnifunc'
  if vim.lsp.inlay_hint then -- 0.10
    vim.lsp.inlay_hint.enable(true, { bufnr = buffer })
  end
end

local config = {
  name = 'netspec',
  cmd = user.cmd or { 'netspec', 'lsp' },
  filetypes = { 'yaml' },
  init_options = settings,
  settings = { netspec = settings },
  on_attach = on_attach,
}

-- The server passes over other YAML files itself; without any network it need not run at all.
local function looks_like_network(buffer)
  for _, line in ipairs(vim.api.nvim_buf_get_lines(buffer, 0, -1, false)) do
    if line:find('^{?%s*["\']?netspec["\']?[ \t]*:') or line:find('^["\']?runner["\']?[ \t]*:[ \t]*%d') then
      return true
    end
  end
  return false
end

local function root_of(buffer)
  return vim.fn.fnamemodify(vim.api.nvim_buf_get_name(buffer), ':p:h')
end

local old_client -- of 0.7, where clients are not found again by their name

local function attach(buffer)
  if vim.lsp.start then -- 0.8; a running server of the same name and folder is used again
    local now = vim.tbl_extend('force', config, { root_dir = root_of(buffer) })
    -- 0.11: what the user has said with vim.lsp.config('netspec', {...}) wins
    local theirs = vim.lsp.config and vim.lsp.config.netspec
    vim.lsp.start(vim.tbl_deep_extend('force', now, theirs or {}), { bufnr = buffer })
    return
  end
  if not (old_client and vim.lsp.get_client_by_id(old_client)) then
    old_client = vim.lsp.start_client(vim.tbl_extend('force', config, { root_dir = root_of(buffer) }))
  end
  if old_client then
    vim.lsp.buf_attach_client(buffer, old_client)
  end
end

local function consider(event)
  if vim.bo[event.buf].filetype == 'yaml' and looks_like_network(event.buf) then
    attach(event.buf)
  end
end

local group = vim.api.nvim_create_augroup('netspec', {})
vim.api.nvim_create_autocmd('FileType', { group = group, pattern = 'yaml', callback = consider })
-- a new file becomes a network while it is typed
vim.api.nvim_create_autocmd({ 'InsertLeave', 'BufWritePost' }, {
  group = group,
  pattern = { '*.yaml', '*.yml' },
  callback = consider,
})
