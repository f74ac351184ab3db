def load(log):
    log.info("providers are loaded before the fork")
