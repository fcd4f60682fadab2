# Le pagine della persona.

heading = Le Sue e-mail da { $sender }
who = { $sender } scrive a { $address }.

list-heading = Questa lista
list-open = Questo messaggio proviene dalla lista «{ $list }».
list-left = Ha lasciato la lista «{ $list }». Da essa non arriverà più nulla.
list-leave = Annullare l’iscrizione a «{ $list }»
list-back = Iscriversi di nuovo a «{ $list }»
list-notice = Premendo questo pulsante acconsente a ricevere le e-mail della lista «{ $list }» di { $sender } all’indirizzo { $address }. Può annullare l’iscrizione in qualsiasi momento con il link presente in ogni messaggio.

all-heading = Tutto da { $sender }
all-open = Interrompere tutta la pubblicità di { $sender }, su ogni lista. I messaggi relativi a un ordine o a un account non sono interessati.
all-left = { $sender } non invia più pubblicità a { $address }, su nessuna lista.
all-leave = Interrompere tutta la pubblicità di { $sender }
all-back = Ricevere di nuovo la pubblicità di { $sender }
all-notice = Premendo questo pulsante acconsente a ricevere e-mail pubblicitarie di { $sender } all’indirizzo { $address } su tutte le sue liste: { $lists }. Può annullare l’iscrizione in qualsiasi momento con il link presente in ogni messaggio.

choose-heading = Scegliere per tema
choose-hint = Ciò che è attivo può esserLe inviato.
choose-save = Salvare le mie scelte

done-heading = Fatto
done-list = { $address } non riceverà più le e-mail della lista «{ $list }» di { $sender }. Vale da subito.
done-all = { $address } non riceverà più pubblicità da { $sender }. Vale da subito.
done-choices = Le Sue scelte sono salvate e valgono da subito.
done-list-back = { $address } può ricevere di nuovo la lista «{ $list }» di { $sender }.
done-all-back = { $address } può ricevere di nuovo la pubblicità di { $sender }.
mistake = È stato un errore?
more = Vedere tutte le scelte

shut = Questo indirizzo è bloccato per un motivo che questa pagina non può cambiare. Si rivolga a { $sender }.
shut-heading = Non possibile qui

unknown-heading = Questo link non è conosciuto qui
unknown-text = Utilizzi il link di un messaggio che ha ricevuto, esattamente come vi compare.
later-heading = Non ancora registrato
later-text = La Sua richiesta non ha potuto essere registrata in questo momento. Riprovi tra qualche minuto.
often-heading = Troppe richieste
often-text = Attenda qualche minuto e riprovi.
unclear-heading = Richiesta non compresa
unclear-text = Non è stato cambiato nulla. Apra il link del Suo messaggio e utilizzi i pulsanti della pagina.

contact = Contatto
imprint = Note legali
languages = Lingua

confirm-subject-list = Confermi, per favore: «{ $list }» di { $sender }
confirm-subject-all = Confermi, per favore: e-mail di { $sender }
confirm-asked-list = Questo indirizzo è stato inserito per ricevere la lista «{ $list }» di { $sender }. Senza la sua conferma non verrà inviato nulla.
confirm-asked-all = Questo indirizzo è stato inserito per ricevere le e-mail di { $sender }. Senza la sua conferma non verrà inviato nulla.
confirm-do = Se è stato lei, apra questa pagina e prema il pulsante:
confirm-not-you = Se non è stato lei, non deve fare nulla. Il link vale { $days } giorni e non ci sono promemoria.
confirm-heading = Ancora un passo
confirm-button = Sì, voglio ricevere queste e-mail
confirm-done-list = { $sender } può ora inviarle la lista «{ $list }» a { $address }. Può lasciarla in ogni momento con il link di ogni messaggio.
confirm-done-all = { $sender } può ora inviarle le sue e-mail a { $address }. Può interromperle in ogni momento con il link di ogni messaggio.
confirm-expired-heading = Questo link è scaduto
confirm-expired = Non è stato registrato nulla. Se desidera ancora queste e-mail di { $sender }, inserisca di nuovo il suo indirizzo.
confirm-left-heading = Non registrato
confirm-left = Da quando è stato inviato questo link, questo indirizzo ha detto di no a { $sender }, e questo conta. Se desidera queste e-mail, inserisca di nuovo il suo indirizzo.
